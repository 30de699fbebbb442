import { parse } from "../parse";
import type { Repo } from "../repo";
export default function log(repo: Repo, argv: string[]) {
  const { flags } = parse(argv, { n: { type: "value", default: "10" }, oneline: { type: "flag" } });
  for (const c of repo.commits.toReversed().slice(0, Number(flags.n))) {
    if (flags.oneline) console.log(`${c.id} ${c.message}`);
    else console.log(`commit ${c.id}${c.parent ? ` (parent ${c.parent})` : ""}\n    ${c.message}\n    ${c.files.join(", ") || "(empty)"}`);
  }
}
