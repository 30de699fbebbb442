import { SyntaxErr, TokenKind, tokenize } from "./lexer";
import type { Token } from "./lexer";

export type Node =
  | { type: "num"; value: number }
  | { type: "var"; name: string }
  | { type: "unary"; op: string; arg: Node }
  | { type: "binary"; op: string; left: Node; right: Node }
  | { type: "call"; fn: string; args: Node[] };

const BP: Record<string, [number, number]> = {
  "+": [1, 2],
  "-": [1, 2],
  "*": [3, 4],
  "/": [3, 4],
  "%": [3, 4],
  "^": [8, 7], // right associative
};

export class Parser {
  private tokens: Token[];
  private i = 0;
  constructor(src: string) {
    this.tokens = [...tokenize(src)];
  }
  private peek = () => this.tokens[this.i];
  private next = () => this.tokens[this.i++];
  private expect(kind: TokenKind): Token {
    const t = this.next();
    if (t.kind !== kind) throw new SyntaxErr(`expected ${kind} but found ${t.text || "end of input"}`, t.pos);
    return t;
  }
  parse(): Node {
    const n = this.expr(0);
    this.expect(TokenKind.End);
    return n;
  }
  private expr(min: number): Node {
    let left = this.prefix();
    for (;;) {
      const t = this.peek();
      if (t.kind !== TokenKind.Op) break;
      const [l, r] = BP[t.text];
      if (l < min) break;
      this.next();
      left = { type: "binary", op: t.text, left, right: this.expr(r) };
    }
    return left;
  }
  private prefix(): Node {
    const t = this.next();
    switch (t.kind) {
      case TokenKind.Number:
        return { type: "num", value: parseFloat(t.text) };
      case TokenKind.Ident: {
        if (this.peek().kind !== TokenKind.LParen) return { type: "var", name: t.text };
        this.next();
        const args: Node[] = [];
        if (this.peek().kind !== TokenKind.RParen) {
          do args.push(this.expr(0));
          while (this.peek().kind === TokenKind.Comma && this.next());
        }
        this.expect(TokenKind.RParen);
        return { type: "call", fn: t.text, args };
      }
      case TokenKind.LParen: {
        const n = this.expr(0);
        this.expect(TokenKind.RParen);
        return n;
      }
      case TokenKind.Op:
        if (t.text === "-" || t.text === "+") return { type: "unary", op: t.text, arg: this.expr(5) };
    }
    throw new SyntaxErr(`unexpected ${t.text || "end of input"}`, t.pos);
  }
}
