import { range, type Command } from "../util";

const count: Command = {
  name: "count",
  help: "count from A to B",
  run({ out }, a = "0", b = "5") {
    out([...range(+a, +b)].join(" "));
  },
};
export default count;
