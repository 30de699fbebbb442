class BankError(Exception):
    """Base class for all bank errors."""


class InsufficientFunds(BankError):
    def __init__(self, needed, available):
        super().__init__(f"needed {needed:.2f}, only {available:.2f} available")
        self.needed = needed
        self.available = available


class AccountLocked(BankError):
    pass


class Account:
    _next_id = 1000

    def __init__(self, owner, balance=0.0):
        self.owner = owner
        self._balance = balance
        self.locked = False
        self.history = []
        self.id = Account._next_id
        Account._next_id += 1

    @property
    def balance(self):
        return self._balance

    @balance.setter
    def balance(self, value):
        if value < 0:
            raise InsufficientFunds(self._balance - value, self._balance)
        self.history.append(value - self._balance)
        self._balance = value

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("Deposit must be positive")
        self.balance += amount

    def withdraw(self, amount):
        if self.locked:
            raise AccountLocked(f"account {self.id} is locked")
        self.balance -= amount

    def __str__(self):
        return f"Account #{self.id} ({self.owner}): ${self.balance:,.2f}"


def transfer(a, b, amount):
    try:
        a.withdraw(amount)
    except BankError as e:
        raise BankError(f"transfer of {amount} failed") from e
    else:
        b.deposit(amount)
        print(f"Transferred ${amount:.2f} from {a.owner} to {b.owner}")
    finally:
        print("  --", a, "|", b)


checking = Account("Kim", 500)
savings = Account("Lee")

transfer(checking, savings, 200)
try:
    transfer(checking, savings, 1000)
except BankError as e:
    print("Error:", e, "| cause:", repr(e.__cause__))

savings.locked = True
try:
    transfer(savings, checking, 5)
except BankError as e:
    print("Error:", e, "| cause:", e.__cause__)

try:
    checking.deposit(-5)
except ValueError as e:
    print("Error:", e)
print("History:", checking.history, savings.history)
