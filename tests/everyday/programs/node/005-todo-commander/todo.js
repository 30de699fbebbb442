#!/usr/bin/env node
const { Command } = require('commander');
const store = require('./lib/store');

const program = new Command();

program
  .name('todo')
  .description('A tiny todo list kept in todos.json')
  .option('-f, --file <file>', 'where the list is kept', 'todos.json');

program
  .command('add <text...>')
  .description('add an item')
  .option('-p, --priority <level>', 'low, normal or high', 'normal')
  .action((text, opts) => {
    const todos = store.load(program.opts().file);
    const id = todos.reduce((m, t) => Math.max(m, t.id), 0) + 1;
    todos.push({ id, text: text.join(' '), priority: opts.priority, done: false });
    store.save(program.opts().file, todos);
    console.log(`Added #${id}: ${text.join(' ')} [${opts.priority}]`);
    print(todos);
  });

program
  .command('done <id>')
  .description('mark an item as done')
  .action((id) => {
    const todos = store.load(program.opts().file);
    const item = todos.find((t) => t.id === Number(id));
    if (!item) {
      console.error(`error: no item #${id}`);
      process.exit(2);
    }
    item.done = true;
    store.save(program.opts().file, todos);
    print(todos);
  });

program.command('list', { isDefault: true }).description('show everything').action(() => {
  print(store.load(program.opts().file));
});

function print(todos) {
  if (todos.length === 0) return console.log('Nothing to do 🎉');
  for (const t of todos) {
    const mark = t.done ? '✔' : ' ';
    const bang = { high: '!!', normal: '', low: '..' }[t.priority] ?? '';
    console.log(`[${mark}] ${String(t.id).padStart(2)} ${t.text} ${bang}`.trimEnd());
  }
  const left = todos.filter((t) => !t.done).length;
  console.log(`${left} of ${todos.length} left`);
}

program.parse();
