import { Money } from "./money.js";

export interface Line { sku: string; qty: number; unit: Money }
export type OrderStatus = "draft" | "placed" | "shipped";

export class Order {
  #status: OrderStatus = "draft";
  readonly lines: Line[] = [];
  constructor(public readonly id: string) {}

  get status() { return this.#status; }

  add(sku: string, qty: number, unit: Money): this {
    if (this.#status !== "draft") throw new Error(`order ${this.id} is already ${this.#status}`);
    this.lines.push({ sku, qty, unit });
    return this;
  }
  total(): Money {
    return this.lines.map((l) => l.unit.times(l.qty)).reduce((a, b) => a.add(b), Money.of(0));
  }
  advance() {
    const flow: Record<OrderStatus, OrderStatus | null> = { draft: "placed", placed: "shipped", shipped: null };
    const next = flow[this.#status];
    if (!next) throw new Error("nothing after shipped");
    this.#status = next;
  }
}
