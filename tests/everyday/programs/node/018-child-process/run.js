const { spawn, execFile, execFileSync, fork, exec } = require('child_process');
const path = require('path');
const util = require('util');
const execFileP = util.promisify(execFile);

function runScript(name, args = [], input) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(__dirname, 'scripts', name), ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', d => out += d);
    child.stderr.on('data', d => err += d);
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out: out.trim(), err: err.trim() }));
    child.stdin.end(input);
  });
}

async function main() {
  console.log('upper:', await runScript('upper.js', [], 'hello from the parent\n'));
  console.log('fail: ', await runScript('fail.js', ['7']));

  const { stdout } = await execFileP(process.execPath, ['-e', 'console.log(6 * 7)']);
  console.log('execFile:', stdout.trim());

  console.log('sync:', execFileSync('echo', ['one', 'two']).toString().trim());

  await new Promise((resolve, reject) => {
    exec('printf "b\\na\\nc\\n" | sort', (e, stdout) => (e ? reject(e) : (console.log('shell:', stdout.trim().split('\n')), resolve())));
  });

  const answer = await new Promise(resolve => {
    const kid = fork(path.join(__dirname, 'scripts', 'adder.js'));
    kid.on('message', m => { resolve(m); kid.disconnect(); });
    kid.send({ numbers: [1, 2, 3, 4] });
  });
  console.log('fork:', answer);
}

main().catch(e => { console.error(e); process.exit(1); });
