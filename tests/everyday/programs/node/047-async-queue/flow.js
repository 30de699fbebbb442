const async = require('async');
const fs = require('fs');

async.waterfall(
  [
    (cb) => fs.readFile('tasks.json', 'utf8', cb),
    (text, cb) => {
      let tasks;
      try { tasks = JSON.parse(text); } catch (e) { return cb(e); }
      cb(null, tasks);
    },
    (tasks, cb) => {
      const log = [];
      const q = async.queue((task, done) => {
        setTimeout(() => {
          log.push(task.name);
          done(task.fail ? new Error(`${task.name} failed`) : null, task.cost);
        }, task.cost);
      }, 2);
      let spent = 0;
      tasks.forEach((t) => q.push(t, (err, cost) => {
        if (err) console.log('  ! ' + err.message);
        else spent += cost;
      }));
      q.drain(() => cb(null, log, spent));
    },
  ],
  (err, log, spent) => {
    if (err) return console.error('waterfall failed', err);
    console.log('finished:', [...log].sort().join(', '));
    console.log('spent:', spent);
    second();
  }
);

function second() {
  async.parallel(
    {
      user: (cb) => setTimeout(cb, 15, null, { id: 1 }),
      posts: (cb) => setTimeout(cb, 5, null, ['a', 'b']),
      flags: async () => new Set(['beta']),
    },
    (err, results) => {
      console.log(err, results);
      async
        .mapLimit([1, 2, 3, 4, 5], 2, async (n) => n ** 2)
        .then((squares) => console.log('squares', squares))
        .then(() => async.retry({ times: 4, interval: 2 }, (cb) => { attempts++; cb(attempts < 3 ? new Error('not yet') : null, 'got it'); }))
        .then((r) => console.log(r, 'after', attempts, 'attempts'))
        .then(() => async.auto({ a: async () => 1, b: ['a', (r, cb) => cb(null, r.a + 1)], c: ['a', 'b', (r, cb) => cb(null, r.a + r.b)] }))
        .then(console.log);
    }
  );
}
let attempts = 0;
