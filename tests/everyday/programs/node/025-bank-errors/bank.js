class BankError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = this.constructor.name;
  }
}

class InsufficientFundsError extends BankError {
  constructor(account, amount) {
    super(`${account.owner} has ${account.balance.toFixed(2)}, needs ${amount.toFixed(2)}`);
    this.missing = amount - account.balance;
  }
}

class AccountNotFoundError extends BankError {}

class Account {
  #balance = 0;
  static #count = 0;
  static get count() { return Account.#count; }

  constructor(owner, opening = 0) {
    this.owner = owner;
    this.#balance = opening;
    this.history = [];
    Account.#count++;
  }

  get balance() { return this.#balance; }

  deposit(amount) {
    if (!(amount > 0)) throw new RangeError(`invalid amount: ${amount}`);
    this.#balance += amount;
    this.history.push(['deposit', amount]);
  }

  withdraw(amount) {
    if (!(amount > 0)) throw new RangeError(`invalid amount: ${amount}`);
    if (amount > this.#balance) throw new InsufficientFundsError(this, amount);
    this.#balance -= amount;
    this.history.push(['withdraw', amount]);
  }
}

class Bank {
  accounts = new Map();

  open(owner, opening) {
    this.accounts.set(owner, new Account(owner, opening));
  }

  get(owner) {
    const acc = this.accounts.get(owner);
    if (!acc) throw new AccountNotFoundError(`no account for "${owner}"`);
    return acc;
  }

  transfer(from, to, amount) {
    try {
      const source = this.get(from);
      const target = this.get(to);
      source.withdraw(amount);
      target.deposit(amount);
      console.log(`ok: ${from} -> ${to} ${amount}`);
    } catch (cause) {
      throw new BankError(`transfer of ${amount} failed`, { cause });
    }
  }
}

const bank = new Bank();
bank.open('alpha', 100);
bank.open('beta', 50);

const attempts = [
  ['alpha', 'beta', 30],
  ['beta', 'alpha', 500],
  ['alpha', 'gamma', 1],
  ['alpha', 'beta', -5],
];

for (const [from, to, amount] of attempts) {
  try {
    bank.transfer(from, to, amount);
  } catch (err) {
    const { cause } = err;
    console.log(`${err.name}: ${err.message}`);
    console.log(`   caused by ${cause.name}: ${cause.message}`);
    if (cause instanceof InsufficientFundsError) console.log(`   missing ${cause.missing.toFixed(2)}`);
  } finally {
    console.log('   balances:', [...bank.accounts.values()].map((a) => `${a.owner}=${a.balance}`).join(' '));
  }
}
console.log('accounts opened:', Account.count);
