import { Editor } from "./document";
import { Insert } from "./commands";

const ed = new Editor();
const show = (what: string) => console.log(`${what.padEnd(22)} |${ed.doc}|`);

ed.type("Hello").type(" wrold"); show("typed");
ed.backspace(4); show("backspace 4");
ed.type("orld"); show("typed");
ed.run(new Insert(0, ">> ")); show("insert at start");
ed.undo(); ed.undo(); show("undo x2");
ed.redo(); show("redo");
console.log(ed.history);
ed.type("!"); show("typed (redo cleared)");
console.log("redo possible?", ed.redo());
let n = 0;
while (ed.undo()) n++;
show(`undone ${n}`);
