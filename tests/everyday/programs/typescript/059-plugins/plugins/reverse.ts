import { definePlugin } from "plugin-api";
export default definePlugin({
  name: "reverse words",
  order: 1,
  async transform(t) {
    return t.split(" ").reverse().join(" ");
  },
});
