package host

import "os"

// keepWhole does nothing: who may write to a file may cut it here.
func keepWhole(*os.File) {}
