// Command chart packages the Helm chart: go run . --version=1.2.3 --output=DIR CHART. The
// same files make the same bytes, which `helm package` does not promise: it writes the time.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	version := flag.String("version", "", "`version` of the chart and of the operator")
	output := flag.String("output", ".", "`directory` that gets the package")
	flag.Parse()
	name, err := pack(flag.Arg(0), *version, *output)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
	fmt.Println(name)
}
