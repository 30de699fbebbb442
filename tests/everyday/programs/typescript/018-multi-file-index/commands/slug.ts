import { slugify, titleCase } from "../util";
import type { Command } from "../util";

export default {
  name: "slug",
  help: "make a slug of the words",
  run(ctx, ...words) {
    if (!words.length) return 2;
    ctx.out(slugify(words.join(" ")));
    ctx.out(titleCase(words.join(" ")));
  },
} satisfies Command;
