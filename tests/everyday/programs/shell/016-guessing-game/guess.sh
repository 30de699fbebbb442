#!/bin/bash
secret=$(( (${SEED:-1} * 7919 + 13) % 100 + 1 ))
tries=0
echo "I think of a number from 1 to 100 🤔"
while read -rp "Your guess: " guess; do
  case $guess in
    q|quit) echo "It was $secret. Bye!"; exit 1 ;;
    ''|*[!0-9]*) echo "'$guess' is not a number"; continue ;;
  esac
  let tries++
  if [ "$guess" -lt "$secret" ]; then
    echo "$guess is too low"
  elif [ "$guess" -gt "$secret" ]; then
    echo "$guess is too high"
  else
    echo "Yes! $tries tries."
    if   (( tries <= 3 )); then echo "Lucky!"
    elif (( tries <= 7 )); then echo "Well done."
    else echo "Finally."
    fi
    exit 0
  fi
done
echo
echo "No more guesses? It was $secret."
exit 2
