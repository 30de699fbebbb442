export * from "./order.js";
export { Money as Price } from "./money.js";
export * as money from "./money.js";
