export type Point = { x: number; y: number };
export interface Transform {
  (p: Point): Point;
}
export const origin: Point = { x: 0, y: 0 };
