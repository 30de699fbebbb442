const fs = require('fs');
const path = require('path');
const defaults = require('../config/defaults');
const { tag, mergeDeep, setPath, coerce } = require('./util');

module.exports = function loadConfig({ env, prefix }) {
  const name = env.NODE_ENV || 'development';
  let config = tag(defaults, 'defaults');

  const file = path.join(__dirname, '..', 'config', `${name}.json`);
  if (fs.existsSync(file)) {
    config = mergeDeep(config, tag(JSON.parse(fs.readFileSync(file, 'utf8')), path.basename(file)));
  }

  Object.keys(env)
    .filter((k) => k.startsWith(prefix))
    .sort()
    .forEach((k) => {
      const keys = k.slice(prefix.length).toLowerCase().split('__');
      setPath(config, keys, { value: coerce(env[k]), from: `env ${k}` });
    });

  return config;
};
