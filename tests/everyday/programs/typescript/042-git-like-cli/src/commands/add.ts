import { parse, UsageError } from "../parse";
import type { Repo } from "../repo";
export default function add(repo: Repo, argv: string[]) {
  const { flags, rest } = parse(argv, { verbose: { alias: "v", type: "flag" } });
  if (!rest.length) throw new UsageError("nothing specified, nothing added");
  repo.add(...rest);
  if (flags.verbose) rest.forEach((f) => console.log(`add '${f}'`));
}
