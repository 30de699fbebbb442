import { Insert, Remove, type Command } from "./commands";

export class Document {
  constructor(private text = "") {}
  splice(at: number, remove: number, insert = ""): string {
    const cut = this.text.slice(at, at + remove);
    this.text = this.text.slice(0, at) + insert + this.text.slice(at + remove);
    return cut;
  }
  get length() {
    return this.text.length;
  }
  toString() {
    return this.text;
  }
}

export class Editor {
  readonly doc = new Document();
  private done: Command[] = [];
  private undone: Command[] = [];

  run(cmd: Command) {
    cmd.execute(this.doc);
    this.done.push(cmd);
    this.undone.length = 0;
    return this;
  }
  type(text: string) {
    return this.run(new Insert(this.doc.length, text));
  }
  backspace(n = 1) {
    return this.run(new Remove(this.doc.length - n, n));
  }
  undo(): boolean {
    const cmd = this.done.pop();
    if (!cmd) return false;
    cmd.undo(this.doc);
    this.undone.push(cmd);
    return true;
  }
  redo(): boolean {
    const cmd = this.undone.pop();
    if (!cmd) return false;
    cmd.execute(this.doc);
    this.done.push(cmd);
    return true;
  }
  get history() {
    return this.done.map((c) => c.label);
  }
}
