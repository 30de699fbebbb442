import assert, { AssertionError } from "node:assert/strict";
import * as u from "./string-utils";

type Test = [name: string, fn: () => void | Promise<void>];
const tests: Test[] = [];
const test = (name: string, fn: Test[1]) => void tests.push([name, fn]);

test("truncate keeps short strings", () => assert.equal(u.truncate("abc", 5), "abc"));
test("truncate cuts long strings", () => {
  assert.equal(u.truncate("abcdefgh", 5), "abcd…");
  assert.equal(u.truncate("abcdefgh", 5, "..").length, 5);
});
test("truncate rejects nonsense", () => {
  assert.throws(() => u.truncate("abc", 1, "..."), { name: "RangeError", message: /too small/ });
});
test("camelCase", () => {
  for (const [input, want] of Object.entries({ "foo-bar": "fooBar", foo_bar_baz: "fooBarBaz", "Hello World": "helloWorld" })) {
    assert.equal(u.camelCase(input), want);
  }
});
test("kebabCase", () => assert.deepEqual(["fooBar", "Foo Bar", "a_b"].map(u.kebabCase), ["foo-bar", "foo-bar", "a-b"]));
test("palindromes", () => {
  assert.ok(u.isPalindrome("A man, a plan, a canal: Panama"));
  assert.ok(!u.isPalindrome("almost"));
});
test("levenshtein", async () => {
  await Promise.resolve();
  assert.equal(u.levenshtein("kitten", "sitting"), 3);
  assert.equal(u.levenshtein("", "abc"), 3);
});
test("this one is expected to fail", () => assert.equal(u.levenshtein("a", "b"), 2));

async function run() {
  let failed = 0;
  for (const [name, fn] of tests) {
    try {
      await fn();
      console.log(`ok   - ${name}`);
    } catch (e) {
      failed++;
      const why = e instanceof AssertionError ? `expected ${e.expected}, got ${e.actual}` : String(e);
      console.log(`FAIL - ${name} (${why})`);
    }
  }
  console.log(`\n${tests.length - failed}/${tests.length} passed`);
  process.exit(failed ? 1 : 0);
}
run();
