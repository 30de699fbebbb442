console.error('something went wrong');
process.exit(Number(process.argv[2]));
