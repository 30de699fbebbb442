#!/bin/bash
PS3="choose> "
balance=100
declare -a history

select choice in Deposit Withdraw Balance History Quit; do
  case "$REPLY:$choice" in
    1:*)
      read -r -p "how much? " amount
      balance=$((balance + amount)); history+=("+$amount")
      echo "deposited $amount" ;;
    2:*)
      read -r amount
      if (( amount > balance )); then
        echo "not enough money ($balance)"
      else
        (( balance -= amount )); history+=("-$amount")
        echo "here is your $amount"
      fi ;;
    3:*) echo "balance: $balance" ;;
    4:*) printf '%s\n' "${history[@]:-(empty)}" ;;
    5:*|q:*) break ;;
    *) echo "invalid: $REPLY" ;;
  esac
done 2>&1
echo "final balance $balance"
