import type { Document } from "../document";
import type { Command } from "./command";

export class Remove implements Command {
  private removed?: string;
  constructor(private at: number, private count: number) {}
  get label() {
    return `remove ${this.count}`;
  }
  execute(doc: Document) {
    this.removed = doc.splice(this.at, this.count);
  }
  undo(doc: Document) {
    if (this.removed === undefined) throw new Error("not executed");
    doc.splice(this.at, 0, this.removed);
  }
}
