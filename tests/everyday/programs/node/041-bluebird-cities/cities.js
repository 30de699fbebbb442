var Promise = require('bluebird');
var fs = Promise.promisifyAll(require('fs'));
var path = require('path');

var dir = path.join(__dirname, 'cities');

fs.readdirAsync(dir)
  .filter(function (name) { return /\.json$/.test(name); })
  .then(function (names) { return names.sort(); })
  .map(function (name) {
    return fs.readFileAsync(path.join(dir, name), 'utf8').then(JSON.parse).catch(SyntaxError, function () {
      console.log('skipping broken file', name);
      return null;
    });
  }, { concurrency: 2 })
  .filter(Boolean)
  .tap(function (cities) { console.log('loaded', cities.length, 'cities'); })
  .then(function (cities) {
    return Promise.props({
      names: Promise.map(cities, function (c) { return c.name; }),
      population: Promise.reduce(cities, function (sum, c) {
        return Promise.delay(5).return(sum + c.population);
      }, 0),
      densest: Promise.resolve(cities).then(function (cs) {
        return cs.slice().sort(function (a, b) { return b.population / b.area - a.population / a.area; })[0].name;
      }),
    });
  })
  .then(console.log)
  .then(function () {
    return Promise.each(['warm up', 'run', 'cool down'], function (step, i, len) {
      return Promise.delay(3).then(function () { console.log((i + 1) + '/' + len, step); });
    });
  })
  .then(function () { return Promise.delay(150).timeout(20, 'too slow'); })
  .catch(Promise.TimeoutError, function (e) { console.log('TimeoutError:', e.message); })
  .then(function () { return [1, Promise.resolve(2)]; })
  .all()
  .spread(function (a, b) { console.log('1 + 2 =', a + b); })
  .finally(function () { console.log('done'); })
  .done();
