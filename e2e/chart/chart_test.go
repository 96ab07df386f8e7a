package chart

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	chartFolder = "../../charts/roomkeeper"
	namespace   = "roomkeeper-system"
)

// object is a rendered one.
type object map[string]any

func (o object) at(path ...string) any {
	var here any = map[string]any(o)
	for _, step := range path {
		here, _ = here.(map[string]any)[step]
		if here == nil {
			return nil
		}
	}
	return here
}

func (o object) String() string { return fmt.Sprintf("%v %v", o.at("kind"), o.at("metadata", "name")) }

// tool is a program of go.mod: the one that a variable names, as make sets it, or else the one that Go keeps.
func tool(variable, name string, arguments ...string) *exec.Cmd {
	if given := os.Getenv(variable); given != "" {
		return exec.Command(given, arguments...)
	}
	return exec.Command("go", append([]string{"tool", name}, arguments...)...)
}

func helm(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	command := tool("HELM", "helm", arguments...)
	var out, failure bytes.Buffer
	command.Stdout, command.Stderr = &out, &failure
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %v: %w: %s%s", arguments, err, out.String(), failure.String())
	}
	return out.String(), nil
}

func template(t *testing.T, files ...string) (string, error) {
	t.Helper()
	arguments := []string{"template", "roomkeeper", chartFolder, "--namespace", namespace, "--kube-version", "1.33.0"}
	for _, file := range files {
		arguments = append(arguments, "--values", file)
	}
	return helm(t, arguments...)
}

func objects(t *testing.T, text string) []object {
	t.Helper()
	var found []object
	for _, document := range strings.Split(text, "\n---") {
		var one object
		if err := yaml.Unmarshal([]byte(document), &one); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(one) > 0 {
			found = append(found, one)
		}
	}
	return found
}

func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return files
}

func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(text, "\n"), strings.Split(string(want), "\n")
	for line := range max(len(got), len(wanted)) {
		if line >= len(got) || line >= len(wanted) || got[line] != wanted[line] {
			t.Fatalf("%s differs from line %d on: look at it with 'go test ./... -update' and git diff", file, line+1)
		}
	}
}

func TestLint(t *testing.T) {
	for _, file := range cases(t) {
		if _, err := helm(t, "lint", chartFolder, "--strict", "--namespace", namespace, "--values", file); err != nil {
			t.Error(err)
		}
	}
}

func TestGoldens(t *testing.T) {
	crds, err := filepath.Glob("../../crds/yaml/*.yaml")
	if err != nil || len(crds) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	for _, file := range cases(t) {
		t.Run(file, func(t *testing.T) {
			text, err := template(t, file)
			if err != nil {
				t.Fatal(err)
			}
			// The CRDs have goldens of their own: here it matters that they are all there, as they are.
			var rest strings.Builder
			with := 0
			for _, document := range strings.SplitAfter(text, "\n---\n") {
				if strings.Contains(document, "kind: CustomResourceDefinition") {
					with++
					continue
				}
				rest.WriteString(document)
			}
			if want := len(crds); with != want && !(with == 0 && strings.Contains(file, "namespaced")) {
				t.Errorf("%d CRDs, not %d", with, want)
			}
			if with > 0 {
				for _, crd := range crds {
					want, _ := os.ReadFile(crd)
					if !strings.Contains(text, strings.TrimSpace(string(want))) {
						t.Errorf("%s is not rendered as it is", crd)
					}
				}
			}
			golden(t, filepath.Join("golden", filepath.Base(file)), rest.String())
		})
	}
}

func TestRefused(t *testing.T) {
	text, err := os.ReadFile("refused.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var refused []struct {
		Values map[string]any `json:"values"`
		Says   string         `json:"says"`
	}
	if err := yaml.UnmarshalStrict(text, &refused); err != nil {
		t.Fatal(err)
	}
	if _, err := helm(t, "template", "roomkeeper", chartFolder); err == nil || !strings.Contains(err.Error(), "at '/publicUrl'") {
		t.Errorf("without publicUrl: %v", err)
	}
	for number, one := range refused {
		values, err := yaml.Marshal(one.Values)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", number))
		if err := os.WriteFile(file, values, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := template(t, "cases/minimal.yaml", file); err == nil || !strings.Contains(err.Error(), one.Says) {
			t.Errorf("%swas not refused with %q: %v", values, one.Says, err)
		}
	}
}

// Every object of values.schema.json that lists its keys refuses others.
func TestSchemaIsClosed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartFolder, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var look func(path string, here map[string]any)
	look = func(path string, here map[string]any) {
		properties, _ := here["properties"].(map[string]any)
		if properties != nil && here["additionalProperties"] != false {
			t.Errorf("%s takes unknown keys", path)
		}
		for name, property := range properties {
			look(path+"."+name, property.(map[string]any))
		}
		if items, ok := here["items"].(map[string]any); ok {
			look(path+"[]", items)
		}
	}
	look("", schema)
}

// The schema knows the keys of values.yaml and no more.
func TestEveryValueHasADefault(t *testing.T) {
	var schema, values map[string]any
	for file, into := range map[string]*map[string]any{"values.schema.json": &schema, "values.yaml": &values} {
		text, err := os.ReadFile(filepath.Join(chartFolder, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	var look func(path string, schema, values map[string]any)
	look = func(path string, schema, values map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, property := range properties {
			value, known := values[name]
			if path+name == "global" {
				continue
			}
			if !known {
				t.Errorf("values.yaml lacks %s%s", path, name)
			}
			if inner, ok := value.(map[string]any); ok {
				look(path+name+".", property.(map[string]any), inner)
			}
		}
	}
	look("", schema, values)
}

func TestNoRoleHasAWildcardOrAnUnnamedSecret(t *testing.T) {
	for _, file := range cases(t) {
		text, err := template(t, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range objects(t, text) {
			if kind := one.at("kind"); kind != "ClusterRole" && kind != "Role" {
				continue
			}
			rules, _ := one.at("rules").([]any)
			for _, rule := range rules {
				rule := rule.(map[string]any)
				for _, list := range []string{"apiGroups", "resources", "verbs"} {
					if slices.Contains(rule[list].([]any), any("*")) {
						t.Errorf("%s: %s: %v has a wildcard", file, one, rule)
					}
				}
				resources, verbs := rule["resources"].([]any), rule["verbs"].([]any)
				sensitive := slices.ContainsFunc(resources, func(resource any) bool {
					return slices.Contains([]any{"secrets", "serviceaccounts/token", "pods/portforward"}, resource)
				})
				// The operator makes its own Secret; create cannot be limited to a name.
				make := one.at("metadata", "name") == "roomkeeper-operator" && len(verbs) == 1 && verbs[0] == "create" && slices.Contains(resources, any("secrets"))
				if sensitive && rule["resourceNames"] == nil && !make {
					t.Errorf("%s: %s: %v names none", file, one, rule)
				}
			}
		}
	}
}

func TestRolesForPeople(t *testing.T) {
	text, err := template(t, "cases/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range objects(t, text) {
		name, _ := one.at("metadata", "name").(string)
		if one.at("kind") != "ClusterRole" {
			continue
		}
		labels, _ := one.at("metadata", "labels").(map[string]any)
		aggregated := false
		for label := range labels {
			aggregated = aggregated || strings.HasPrefix(label, "rbac.authorization.k8s.io/aggregate-to-")
		}
		if slices.Contains([]string{"roomkeeper-scope-admin", "roomkeeper-support", "roomkeeper-auditor"}, name) && aggregated {
			t.Errorf("%s is aggregated", name)
		}
		for _, rule := range one.at("rules").([]any) {
			rule := rule.(map[string]any)
			resources, verbs := rule["resources"].([]any), rule["verbs"].([]any)
			if aggregated && slices.Contains(verbs, any("create")) && (len(resources) != 1 || resources[0] != "calendarsubscriptions") {
				t.Errorf("%s is aggregated and creates %v", name, resources)
			}
			// The policies take patch without update for the right to ask for a run alone.
			if name == "roomkeeper-support" && slices.Contains(verbs, any("update")) {
				t.Error("support has update")
			}
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	for _, file := range cases(t) {
		text, err := template(t, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range objects(t, text) {
			if one.at("kind") != "StatefulSet" {
				continue
			}
			pod := object(one.at("spec", "template", "spec").(map[string]any))
			if pod.at("securityContext", "runAsNonRoot") != true || pod.at("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
				t.Errorf("%s: %s: %v", file, one, pod.at("securityContext"))
			}
			for _, container := range pod.at("containers").([]any) {
				container := object(container.(map[string]any))
				drop, _ := container.at("securityContext", "capabilities", "drop").([]any)
				if container.at("securityContext", "allowPrivilegeEscalation") != false ||
					container.at("securityContext", "readOnlyRootFilesystem") != true || len(drop) != 1 || drop[0] != "ALL" {
					t.Errorf("%s: %s: %v", file, one, container.at("securityContext"))
				}
			}
		}
	}
}

// Every flag that the chart sets is one of the program's.
func TestFlagsExist(t *testing.T) {
	for _, file := range cases(t) {
		text, err := template(t, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range objects(t, text) {
			if one.at("kind") != "StatefulSet" {
				continue
			}
			program := "roomkeeper-webhook-server"
			if one.at("metadata", "name") == "roomkeeper-operator" {
				program = "roomkeeper-operator"
			}
			help, err := os.ReadFile("../../docs/command-line/" + program + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			container := object(one.at("spec", "template", "spec", "containers").([]any)[0].(map[string]any))
			for _, argument := range container.at("args").([]any) {
				name, _, _ := strings.Cut(argument.(string), "=")
				if name != "--queue-url" && !strings.Contains(string(help), name+" ") && !strings.Contains(string(help), name+"\n") {
					t.Errorf("%s: %s: %s is no flag of %s", file, one, name, program)
				}
			}
		}
	}
}
