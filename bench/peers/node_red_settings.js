// Node-RED as it comes, without its editor and without console output.
module.exports = {
  uiHost: "127.0.0.1",
  flowFile: "flow.json",
  httpAdminRoot: false,
  httpNodeRoot: "/",
  functionExternalModules: true,
  telemetry: { enabled: false },
  diagnostics: { enabled: false, ui: false },
  logging: { console: { level: "warn", metrics: false, audit: false } },
};
