import { commands } from "./commands";

export function run(argv: string[]): number {
  const [name, ...args] = argv;
  const cmd = commands.find((c) => c.name === name);
  if (!cmd) {
    console.log("commands:");
    for (const c of commands) console.log(`  ${c.name.padEnd(8)} ${c.help}`);
    return name ? 1 : 0;
  }
  return cmd.run({ out: (l) => console.log(`> ${l}`) }, ...args) ?? 0;
}

if (require.main === module) {
  console.log("exit", run(["slug", "Crème Brûlée,", "à la carte!"]));
  console.log("exit", run(["slug"]));
  console.log("exit", run(["count", "3", "9"]));
  process.exit(run(process.argv.slice(2)));
}
