#!/bin/bash
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
. "$here/assert.sh"
. "$here/math.sh"

setup() { fixture=5; }

test_factorial() {
  assert_eq 120 "$(factorial $fixture)"
  assert_eq 1 "$(factorial 0)"
  assert_status 22 factorial abc
}
test_average() { assert_eq 2.50 "$(average 1 2 3 4)"; assert_match '^[0-9]+\.[0-9]{2}$' "$(average 7)"; }
test_even() { assert_status 0 is_even 10; assert_status 1 is_even 7; }
test_wrong_on_purpose() { assert_eq "6 " "$(factorial 3)" "trailing space"; }

run_tests
