import { Bank, BankError, InsufficientFunds, TransferFailed } from "./bank";

const bank = new Bank();
bank.open("alice", 100);
bank.open("bob");

function attempt(label: string, fn: () => void): void {
  try {
    fn();
    console.log(`${label}: ok`);
  } catch (e) {
    if (e instanceof TransferFailed && e.cause instanceof BankError) {
      console.log(`${label}: [${e.code}] ${e.message} (because ${e.cause.name}: ${e.cause.message})`);
      if (e.cause instanceof InsufficientFunds) console.log(`   short by ${e.cause.needed - e.cause.available}`);
    } else if (e instanceof Error) {
      console.log(`${label}: ${e.name}: ${e.message}`);
    } else throw e;
  }
}

attempt("pay 30", () => bank.transfer("alice", "bob", 30));
attempt("pay 500", () => bank.transfer("alice", "bob", 500));
attempt("pay ghost", () => bank.transfer("alice", "ghost", 1));
attempt("negative", () => bank.get("bob").deposit(-5));

console.table([bank.get("alice"), bank.get("bob")].map((a) => ({ id: a.id, balance: a.balance, ops: a.history.length })));
