import { Repo } from "./repo";
import { UsageError } from "./parse";
import add from "./commands/add";
import commit from "./commands/commit";
import log from "./commands/log";

const commands = { add, commit, log } as const;
type Name = keyof typeof commands;
const isName = (s: string): s is Name => Object.hasOwn(commands, s);

const repo = new Repo();
const session = process.argv.slice(2).join(" ").split(" , ");
let status = 0;
for (const line of session) {
  const [name, ...args] = [...line.matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2]);
  console.log(`$ vcs ${line}`);
  try {
    if (!isName(name)) throw new UsageError(`'${name}' is not a vcs command`);
    commands[name](repo, args);
  } catch (e) {
    if (!(e instanceof UsageError)) throw e;
    console.log(`vcs: ${e.message}`);
    status = 129;
  }
}
process.exit(status);
