export abstract class BankError extends Error {
  abstract readonly code: string;
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

export class InsufficientFunds extends BankError {
  readonly code = "E_FUNDS";
  constructor(readonly needed: number, readonly available: number) {
    super(`need ${needed.toFixed(2)} but only ${available.toFixed(2)} available`);
  }
}

export class AccountNotFound extends BankError {
  readonly code = "E_ACCOUNT";
  constructor(readonly id: string) {
    super(`account ${id} does not exist`);
  }
}

export class TransferFailed extends BankError {
  readonly code = "E_TRANSFER";
}

class Account {
  private _balance = 0;
  readonly history: { op: string; amount: number }[] = [];
  constructor(public readonly id: string, initial = 0) {
    this._balance = initial;
  }
  get balance() {
    return this._balance;
  }
  deposit(amount: number) {
    if (amount <= 0) throw new RangeError("amount must be positive");
    this._balance += amount;
    this.history.push({ op: "deposit", amount });
  }
  withdraw(amount: number) {
    if (amount > this._balance) throw new InsufficientFunds(amount, this._balance);
    this._balance -= amount;
    this.history.push({ op: "withdraw", amount });
  }
}

export class Bank {
  private accounts = new Map<string, Account>();

  open(id: string, initial?: number): Account {
    const a = new Account(id, initial);
    this.accounts.set(id, a);
    return a;
  }
  get(id: string): Account {
    const a = this.accounts.get(id);
    if (!a) throw new AccountNotFound(id);
    return a;
  }
  transfer(from: string, to: string, amount: number): void {
    try {
      const target = this.get(to);
      this.get(from).withdraw(amount);
      target.deposit(amount);
    } catch (cause) {
      throw new TransferFailed(`transfer ${from} -> ${to} failed`, { cause });
    }
  }
}
