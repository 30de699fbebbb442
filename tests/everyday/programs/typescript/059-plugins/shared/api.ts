export interface Plugin {
  name: string;
  order?: number;
  transform(text: string): string | Promise<string>;
}
export const definePlugin = (p: Plugin): Plugin => ({ order: 10, ...p });
