import type { Document } from "../document";
import type { Command } from "./command";

export class Insert implements Command {
  readonly label: string;
  constructor(private at: number, private text: string) {
    this.label = `insert "${text}"`;
  }
  execute(doc: Document) {
    doc.splice(this.at, 0, this.text);
  }
  undo(doc: Document) {
    doc.splice(this.at, this.text.length);
  }
}
