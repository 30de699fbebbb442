import bcrypt from 'bcryptjs';

class UserStore {
  #users = new Map();

  async register(name, password) {
    if (password.length < 8) throw new Error('password must have at least 8 characters');
    if (this.#users.has(name)) throw new Error(`${name} is taken`);
    const hash = await bcrypt.hash(password, 5);
    this.#users.set(name, { hash, fails: 0 });
    return hash;
  }

  async login(name, password) {
    const user = this.#users.get(name);
    if (!user) return false;
    if (user.fails >= 3) throw new Error('account is locked');
    const ok = await bcrypt.compare(password, user.hash);
    user.fails = ok ? 0 : user.fails + 1;
    return ok;
  }
}

const store = new UserStore();
const hash = await store.register('robin', 'correct horse');
console.log('hash looks right:', /^\$2[aby]\$05\$.{53}$/.test(hash), 'rounds:', bcrypt.getRounds(hash));

for (const [name, pw] of [['robin', 'short'], ['kim', 'short']]) {
  await store.register(name, pw).catch((e) => console.log('register', name, '->', e.message));
}

for (const pw of ['correct horse', 'Correct Horse', '', 'x', 'correct horse']) {
  try {
    console.log(`login with ${JSON.stringify(pw)}:`, await store.login('robin', pw));
  } catch (e) {
    console.log(`login with ${JSON.stringify(pw)}: ${e.message}`);
  }
}
console.log('unknown user:', await store.login('nobody', 'whatever'));

const fixedSalt = '$2b$04$abcdefghijklmnopqrstuu';
console.log(bcrypt.hashSync('same input', fixedSalt) === bcrypt.hashSync('same input', fixedSalt));
console.log(bcrypt.hashSync('same input', fixedSalt));
