package restyretry

import "testing"

// Without one of these fields the plugin would still work, but less would be
// noticed, or more copied.
func TestThisRestyHasAllFieldsThatAreLookedAt(t *testing.T) {
	for name, found := range map[string]bool{
		"preReqHook":      preRequestField.found,
		"udBeforeRequest": middlewareField.found,
		"outputDirectory": directoryField.found,
		"errorHooks":      errorHooksField.found,
		"panicHooks":      panicHooksField.found,
		"trace, client":   clientTraceField.found,
		"client":          clientField.found,
		"retryConditions": requestConditionsField.found,
		"isMultiPart":     multipartField.found,
		"multipartFiles":  filesField.found,
		"multipartFields": fieldsField.found,
		"isSaveResponse":  savesField.found,
		"outputFile":      outputField.found,
		"trace, request":  requestTraceField.found,
	} {
		if !found {
			t.Errorf("no field %s of the expected type", name)
		}
	}
}
