import { parse, UsageError } from "../parse";
import type { Repo } from "../repo";
export default function commit(repo: Repo, argv: string[]) {
  const { flags } = parse(argv, { message: { alias: "m", type: "value" }, "allow-empty": { type: "flag" } });
  if (typeof flags.message !== "string") throw new UsageError("please give a message with -m");
  if (!repo.staged.size && !flags["allow-empty"]) throw new UsageError("nothing to commit");
  const c = repo.commit(flags.message);
  console.log(`[main ${c.id}] ${c.message}\n ${c.files.length} file(s) changed`);
}
