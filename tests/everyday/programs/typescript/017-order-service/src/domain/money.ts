export class Money {
  private constructor(readonly cents: number, readonly currency: string) {}
  static of(amount: number, currency = "EUR") {
    return new Money(Math.round(amount * 100), currency);
  }
  add(o: Money): Money {
    if (o.currency !== this.currency) throw new TypeError(`cannot add ${o.currency} to ${this.currency}`);
    return new Money(this.cents + o.cents, this.currency);
  }
  times(n: number): Money {
    return new Money(Math.round(this.cents * n), this.currency);
  }
  toString() {
    return `${(this.cents / 100).toFixed(2)} ${this.currency}`;
  }
}
