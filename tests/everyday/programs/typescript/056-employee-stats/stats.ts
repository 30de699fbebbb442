import employees, { type Employee, type Team } from "./data/employees";

const eur = new Intl.NumberFormat("de-DE", { style: "currency", currency: "EUR" });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const listFmt = new Intl.ListFormat("en", { type: "conjunction" });

const byTeam = Object.groupBy(employees, (e) => e.team) as Record<Team, Employee[]>;
const sumBy = <T>(xs: readonly T[], f: (x: T) => number) => xs.reduce((s, x) => s + f(x), 0);

for (const [team, members] of Object.entries(byTeam).sort(([a], [b]) => a.localeCompare(b))) {
  const avg = sumBy(members, (e) => e.salary) / members.length;
  console.log(`${team.toUpperCase().padEnd(5)} ${eur.format(avg).replace(/\u00a0/g, " ").padStart(14)}  ${listFmt.format(members.map((m) => m.name))}`);
}
console.log("payroll:", compact.format(sumBy(employees, (e) => e.salary)));

const index = new Map(employees.map((e) => [e.id, e]));
function chain(e: Employee): string {
  const boss = e.manager !== undefined ? index.get(e.manager) : undefined;
  return boss ? `${e.name} < ${chain(boss)}` : e.name;
}
console.log(chain(index.get(6)!));

const tenure = (e: Employee) => Math.floor((Date.UTC(2024, 0, 1) - Date.parse(e.started)) / (365.25 * 864e5));
const oldest = employees.toSorted((a, b) => tenure(b) - tenure(a))[0];
console.log(`${oldest.name}: ${tenure(oldest)} years, since ${new Date(oldest.started).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" })}`);

const raise: Record<Team, number> = { core: 3, web: 4.5, ops: 5 };
const partition = Map.groupBy(employees, (e) => (e.salary * (1 + raise[e.team] / 100) > 65_000 ? "above" : "below"));
for (const [k, v] of partition) console.log(k, v.map((e) => e.name));
