const BINARY = { '+': 1, '-': 1, '*': 2, '/': 2, '%': 2 };

class Parser {
  constructor(tokens) {
    this.tokens = tokens;
    this.i = 0;
  }
  get tok() { return this.tokens[this.i]; }
  next() { return this.tokens[this.i++]; }
  accept(v) { return this.tok.type === 'op' && this.tok.value === v ? this.next() : null; }
  expect(v) { return this.accept(v) ?? this.fail(`expected "${v}" but found ${this.tok.value}`); }
  fail(msg) { throw Object.assign(new SyntaxError(msg), { pos: this.tok.pos }); }

  parse() {
    let node;
    if (this.tok.type === 'id' && this.tokens[this.i + 1].value === '=') {
      const name = this.next().value;
      this.next();
      node = { type: 'assign', name, value: this.expr() };
    } else node = this.expr();
    if (this.tok.type !== 'end') this.fail(`unexpected ${this.tok.value}`);
    return node;
  }

  expr(min = 1) {
    let left = this.unary();
    while (BINARY[this.tok.value] >= min) {
      const op = this.next().value;
      left = { type: 'binary', op, left, right: this.expr(BINARY[op] + 1) };
    }
    return left;
  }
  unary() {
    if (this.accept('-')) return { type: 'neg', arg: this.unary() };
    return this.power();
  }
  power() {
    let base = this.atom();
    while (this.accept('!')) base = { type: 'call', name: 'fact', args: [base] };
    return this.accept('^') || this.accept('**') ? { type: 'binary', op: '^', left: base, right: this.unary() } : base;
  }
  atom() {
    const t = this.next();
    if (t.type === 'num') return { type: 'num', value: parseFloat(t.value) };
    if (t.type === 'id') {
      if (!this.accept('(')) return { type: 'var', name: t.value };
      const args = [];
      if (!this.accept(')')) {
        do args.push(this.expr()); while (this.accept(','));
        this.expect(')');
      }
      return { type: 'call', name: t.value, args };
    }
    if (t.value === '(') {
      const inner = this.expr();
      this.expect(')');
      return inner;
    }
    this.i--;
    this.fail(`unexpected ${t.value}`);
  }
}
exports.Parser = Parser;
