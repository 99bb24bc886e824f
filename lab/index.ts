// The public entry of lab/ for tests. Nothing outside lab/ imports any other file of it.
export { CHAPTERS, tellOnScreen } from './demo/tell.ts';
export { installOperator, uninstallOperator } from './operator/install.ts';
export { allBuilds, ensureProgram } from './patient/builds.ts';
export { checkPatient, describe as describeHealth, soak } from './patient/check.ts';
export { inject } from './patient/inject.ts';
export { ledgerReport } from './patient/observation.ts';
export { openSession, type PatientTarget, patientDefaults } from './patient/session.ts';
export { scenarioNamed } from './scenarios/all.ts';
export { storeViews } from './scenarios/stores.ts';
export { Incidents } from './trials/incidents.ts';
export { runTrial } from './trials/run-trial.ts';
export { tikvTrial } from './trials/tikv-trial.ts';
