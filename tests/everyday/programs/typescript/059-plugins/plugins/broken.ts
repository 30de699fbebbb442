throw new Error("this plugin does not like you");
export default null;
