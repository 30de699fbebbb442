export * from "./insert";
export * from "./remove";
export type * from "./command";
