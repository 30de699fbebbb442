export interface OptionSpec {
  alias?: string;
  type: "flag" | "value";
  default?: string | boolean;
}
export interface Parsed {
  flags: Record<string, string | boolean | undefined>;
  rest: string[];
}
export class UsageError extends Error {}

export function parse(argv: readonly string[], specs: Record<string, OptionSpec>): Parsed {
  const flags: Parsed["flags"] = {};
  for (const [k, s] of Object.entries(specs)) flags[k] = s.default;
  const rest: string[] = [];
  const queue = [...argv];
  for (let arg = queue.shift(); arg !== undefined; arg = queue.shift()) {
    if (arg === "--") {
      rest.push(...queue);
      break;
    }
    if (!arg.startsWith("-")) {
      rest.push(arg);
      continue;
    }
    const [, name, , inline] = /^--?([^=]+)(=(.*))?$/.exec(arg) ?? [];
    const key = Object.keys(specs).find((k) => k === name || specs[k].alias === name);
    if (!key) throw new UsageError(`unknown option ${arg}`);
    if (specs[key].type === "flag") flags[key] = true;
    else {
      const v = inline ?? queue.shift();
      if (v === undefined) throw new UsageError(`option --${key} needs a value`);
      flags[key] = v;
    }
  }
  return { flags, rest };
}
