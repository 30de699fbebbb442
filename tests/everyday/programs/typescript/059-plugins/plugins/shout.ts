import { definePlugin } from "plugin-api";
export default definePlugin({ name: "shout", transform: (t) => t.toUpperCase() + "!" });
