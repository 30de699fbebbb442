export enum TokenKind {
  Number = "NUMBER",
  Ident = "IDENT",
  Op = "OP",
  LParen = "(",
  RParen = ")",
  Comma = ",",
  End = "END",
}

export interface Token {
  kind: TokenKind;
  text: string;
  pos: number;
}

export class SyntaxErr extends Error {
  constructor(message: string, public readonly pos: number) {
    super(`${message} at position ${pos}`);
    this.name = "SyntaxErr";
  }
}

const RULES: [RegExp, TokenKind | null][] = [
  [/^\s+/, null],
  [/^\d+(\.\d+)?/, TokenKind.Number],
  [/^[a-z_]\w*/i, TokenKind.Ident],
  [/^[-+*/^%]/, TokenKind.Op],
  [/^\(/, TokenKind.LParen],
  [/^\)/, TokenKind.RParen],
  [/^,/, TokenKind.Comma],
];

export function* tokenize(source: string): Generator<Token> {
  let pos = 0;
  outer: while (pos < source.length) {
    const rest = source.slice(pos);
    for (const [re, kind] of RULES) {
      const m = re.exec(rest);
      if (!m) continue;
      if (kind !== null) yield { kind, text: m[0], pos };
      pos += m[0].length;
      continue outer;
    }
    throw new SyntaxErr(`unexpected character '${source[pos]}'`, pos);
  }
  yield { kind: TokenKind.End, text: "", pos };
}
