export interface Context {
  out: (line: string) => void;
}
export interface Command {
  name: string;
  help: string;
  run(ctx: Context, ...args: string[]): number | void;
}
