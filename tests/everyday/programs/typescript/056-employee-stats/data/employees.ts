export interface Employee {
  readonly id: number;
  name: string;
  team: Team;
  salary: number;
  started: `${number}-${number}-${number}`;
  manager?: number;
}
export type Team = "core" | "web" | "ops";

const employees: readonly Employee[] = [
  { id: 1, name: "Ines", team: "core", salary: 82_000, started: "2015-03-01" },
  { id: 2, name: "Oto", team: "web", salary: 61_500, started: "2019-07-15", manager: 1 },
  { id: 3, name: "Pia", team: "core", salary: 74_250, started: "2018-01-08", manager: 1 },
  { id: 4, name: "Quin", team: "ops", salary: 58_000, started: "2021-11-30", manager: 3 },
  { id: 5, name: "Rui", team: "web", salary: 64_900, started: "2017-05-22", manager: 2 },
  { id: 6, name: "Sol", team: "ops", salary: 49_999.5, started: "2023-02-14", manager: 4 },
];
export default employees;
