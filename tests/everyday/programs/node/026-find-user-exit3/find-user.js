#!/usr/bin/env node
const users = require('./users.json');

const EXIT = { OK: 0, USAGE: 2, NOT_FOUND: 3 };

function main(argv) {
  const [, , idArg] = argv;
  if (!idArg || !/^\d+$/.test(idArg)) {
    console.error('usage: find-user.js <id>');
    return EXIT.USAGE;
  }
  const user = users.find(({ id }) => id === Number(idArg));
  if (!user) {
    console.log(`user ${idArg}: not found`);
    const close = users.map((u) => u.id).sort((a, b) => Math.abs(a - idArg) - Math.abs(b - idArg));
    console.log(`nearest ids: ${close.slice(0, 3).join(', ')}`);
    console.error(`find-user: no user with id ${idArg}`);
    return EXIT.NOT_FOUND;
  }
  console.log(JSON.stringify(user, null, 2));
  return EXIT.OK;
}

process.exit(main(process.argv));
