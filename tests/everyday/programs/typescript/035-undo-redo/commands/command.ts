import type { Document } from "../document";
export interface Command {
  readonly label: string;
  execute(doc: Document): void;
  undo(doc: Document): void;
}
