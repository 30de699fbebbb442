export { slugify, titleCase } from "./strings";
export { default as range } from "./range";
export type { Command, Context } from "./types";
