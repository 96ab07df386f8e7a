package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The newest patch of each supported minor version.
var kubernetes = []string{"v1.33.13", "v1.34.4", "v1.35.4", "v1.36.3", "v1.37.2"}

// Kinds of other projects, whose schemas are not Kubernetes'.
const foreign = "Certificate,HTTPRoute,BackendTLSPolicy,ServiceMonitor,PrometheusRule"

// Kubernetes publishes the schemas of its API within its own module: they are taken from there, checked against Go's sum database.
func schemas(t *testing.T, version string) string {
	t.Helper()
	// Past the test's capture: what takes long says so.
	told := time.AfterFunc(3*time.Second, func() {
		fmt.Fprintf(os.Stderr, "chart: downloading the schemas of Kubernetes %s, once\n", version)
	})
	defer told.Stop()
	out, err := exec.Command("go", "mod", "download", "-json", "k8s.io/kubernetes@"+version).Output()
	if err != nil {
		t.Fatalf("download k8s.io/kubernetes %s: %v %s", version, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var swagger struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &swagger); err != nil {
		t.Fatal(err)
	}
	for name, definition := range swagger.Definitions {
		switch {
		case strings.HasSuffix(name, ".util.intstr.IntOrString"):
			swagger.Definitions[name] = map[string]any{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".api.resource.Quantity"):
			swagger.Definitions[name] = map[string]any{"type": []string{"string", "number"}}
		case definition["properties"] != nil && definition["additionalProperties"] == nil:
			definition["additionalProperties"] = false
		}
	}
	folder := t.TempDir()
	for name, definition := range swagger.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		// Options and the like belong to every group.
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(map[string]any)
		group, _, _ := strings.Cut(kind["group"].(string), ".")
		file := strings.ToLower(fmt.Sprint(kind["kind"]))
		if group != "" {
			file += "-" + group
		}
		file += "-" + fmt.Sprint(kind["version"]) + ".json"
		needed := map[string]any{}
		collect(swagger.Definitions, definition, needed)
		needed[name] = definition
		schema, err := json.Marshal(map[string]any{"$ref": "#/definitions/" + name, "definitions": needed})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), schema, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func collect(all map[string]map[string]any, from any, into map[string]any) {
	switch from := from.(type) {
	case map[string]any:
		if reference, ok := from["$ref"].(string); ok {
			name := strings.TrimPrefix(reference, "#/definitions/")
			if _, known := into[name]; !known {
				into[name] = all[name]
				collect(all, all[name], into)
			}
		}
		for _, inner := range from {
			collect(all, inner, into)
		}
	case []any:
		for _, inner := range from {
			collect(all, inner, into)
		}
	}
}

func kubeconform(folder, text string) (string, error) {
	arguments := []string{"-strict", "-summary", "-skip", foreign, "-schema-location", folder + "/{{.ResourceKind}}{{.KindSuffix}}.json"}
	command := tool("KUBECONFORM", "kubeconform", arguments...)
	command.Stdin = strings.NewReader(text)
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestKubeconform(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads Kubernetes")
	}
	var all strings.Builder
	for _, file := range cases(t) {
		text, err := template(t, file)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n---\n" + text)
	}
	for _, version := range kubernetes {
		t.Run(version, func(t *testing.T) {
			folder := schemas(t, version)
			if out, err := kubeconform(folder, all.String()); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			// It does look.
			wrong := "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1}\n"
			if out, err := kubeconform(folder, wrong); err == nil {
				t.Fatalf("an unknown field passed: %s", out)
			}
		})
	}
}
