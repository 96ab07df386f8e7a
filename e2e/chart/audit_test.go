package chart

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const auditListen = "--audit-listen="

// daemons are the StatefulSets of a case, and whether it has copies of the audit.
func daemons(t *testing.T, rendered []object, file string) (sets []object, copies bool) {
	t.Helper()
	for _, one := range rendered {
		if one.at("kind") == "StatefulSet" {
			sets = append(sets, one)
		}
	}
	if len(sets) == 0 {
		t.Fatalf("%s has no StatefulSet", file)
	}
	return sets, !strings.Contains(file, "namespaced")
}

// named are the objects of a kind whose name is that or begins with it.
func named(rendered []object, kind, prefix string) []object {
	var found []object
	for _, one := range rendered {
		name, _ := one.at("metadata", "name").(string)
		if one.at("kind") == kind && strings.HasPrefix(name, prefix) {
			found = append(found, one)
		}
	}
	return found
}

func rendered(t *testing.T, file string) []object {
	t.Helper()
	text, err := template(t, file)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, text)
}

// is compares with what YAML says.
func is(t *testing.T, what string, got any, want string) {
	t.Helper()
	var wanted any
	if err := yaml.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, wanted) {
		text, _ := yaml.Marshal(got)
		t.Errorf("%s is not\n%s\nbut\n%s", what, want, text)
	}
}

// The listener of the audit's copies is on the loopback of each pod, and nothing else in the cluster names its port.
func TestAuditIsHandedOutOnLoopbackAlone(t *testing.T) {
	for _, file := range cases(t) {
		all := rendered(t, file)
		sets, copies := daemons(t, all, file)
		for _, set := range sets {
			container := object(set.at("spec", "template", "spec", "containers").([]any)[0].(map[string]any))
			var flags []any
			for _, argument := range container.at("args").([]any) {
				if strings.HasPrefix(argument.(string), auditListen) {
					flags = append(flags, argument)
				}
			}
			var want []any
			if copies {
				want = []any{auditListen + "127.0.0.1:9443"}
			}
			if !slices.Equal(flags, want) {
				t.Errorf("%s: %s has %v, not %v", file, set, flags, want)
			}
		}
		for _, one := range all {
			text, err := yaml.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			if copies && one.at("kind") == "StatefulSet" {
				want = 1
			}
			if got := strings.Count(string(text), "9443"); got != want {
				t.Errorf("%s: %s names port 9443 %d times, not %d", file, one, got, want)
			}
		}
	}
}

// The daemons may ask who somebody is and what they may do: each of them, and nobody besides.
func TestDaemonsMayAskWhoCopiesTheAudit(t *testing.T) {
	for _, file := range cases(t) {
		all := rendered(t, file)
		sets, copies := daemons(t, all, file)
		name := "roomkeeper-audit-copies:" + namespace
		for _, one := range slices.Concat(named(all, "ClusterRole", ""), named(all, "Role", "")) {
			text, err := yaml.Marshal(one.at("rules"))
			if err != nil {
				t.Fatal(err)
			}
			reviews := strings.Contains(string(text), "tokenreviews") || strings.Contains(string(text), "accessreviews")
			if reviews != (copies && one.at("kind") == "ClusterRole" && one.at("metadata", "name") == name) {
				t.Errorf("%s: %s: %s", file, one, text)
			}
		}
		roles, bindings := named(all, "ClusterRole", name), named(all, "ClusterRoleBinding", name)
		if !copies {
			if len(roles)+len(bindings) != 0 {
				t.Errorf("%s: %v %v", file, roles, bindings)
			}
			continue
		}
		if len(roles) != 1 || len(bindings) != 1 {
			t.Fatalf("%s: %v %v", file, roles, bindings)
		}
		is(t, file+": rules", roles[0].at("rules"), `
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}`)
		var accounts, subjects []string
		for _, set := range sets {
			accounts = append(accounts, fmt.Sprint(set.at("spec", "template", "spec", "serviceAccountName")))
		}
		for _, subject := range bindings[0].at("subjects").([]any) {
			subject := object(subject.(map[string]any))
			if subject.at("kind") != "ServiceAccount" || subject.at("namespace") != namespace {
				t.Errorf("%s: %v", file, subject)
			}
			subjects = append(subjects, fmt.Sprint(subject.at("name")))
		}
		slices.Sort(accounts)
		slices.Sort(subjects)
		if !slices.Equal(accounts, subjects) {
			t.Errorf("%s: %v may ask, and the daemons are %v", file, subjects, accounts)
		}
	}
}

// Auditors read the register, and copy the audit from the pods of this installation by their names.
func TestAuditorsGetNoMoreThanTheyNeed(t *testing.T) {
	for _, file := range cases(t) {
		all := rendered(t, file)
		sets, copies := daemons(t, all, file)
		for _, role := range named(all, "ClusterRole", "roomkeeper-auditor") {
			is(t, file+": ClusterRole", role.at("rules"), `
- {apiGroups: [roomkeeper.dev], resources: [accessscopes, calendarsubscriptions, consentrecords], verbs: [get, list, watch]}
- {apiGroups: [roomkeeper.dev], resources: [accessscopes/audit], verbs: [get]}
- {apiGroups: [""], resources: [serviceaccounts/token], resourceNames: [roomkeeper-auditor], verbs: [create]}`)
		}
		roles := named(all, "Role", "roomkeeper-auditor")
		if len(roles) != 1 || roles[0].at("metadata", "namespace") != namespace {
			t.Fatalf("%s: %v", file, roles)
		}
		want := `
- {apiGroups: [""], resources: [configmaps], verbs: [get, list]}`
		if copies {
			var pods []string
			for _, set := range sets {
				for pod := range int(set.at("spec", "replicas").(float64)) {
					pods = append(pods, fmt.Sprintf("%v-%d", set.at("metadata", "name"), pod))
				}
			}
			slices.Sort(pods)
			want += fmt.Sprintf(`
- {apiGroups: [""], resources: [pods/portforward], resourceNames: [%s], verbs: [get, create]}`, strings.Join(pods, ", "))
		}
		is(t, file+": Role", roles[0].at("rules"), want)
	}
}

// Whoever is made an auditor has the Role of the release's namespace as well, and nobody else has it.
func TestAuditorsAreBoundTwice(t *testing.T) {
	for _, file := range cases(t) {
		all := rendered(t, file)
		subjects := map[string][]any{}
		for _, kind := range []string{"RoleBinding", "ClusterRoleBinding"} {
			for _, binding := range named(all, kind, "") {
				if binding.at("roleRef", "name") != "roomkeeper-auditor" {
					continue
				}
				role := fmt.Sprint(binding.at("roleRef", "kind"))
				if role == "Role" && binding.at("metadata", "namespace") != namespace {
					t.Errorf("%s: %s is in %v", file, binding, binding.at("metadata", "namespace"))
				}
				subjects[role] = append(subjects[role], binding.at("subjects").([]any)...)
			}
		}
		order := func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
		slices.SortFunc(subjects["Role"], order)
		slices.SortFunc(subjects["ClusterRole"], order)
		if !reflect.DeepEqual(subjects["Role"], subjects["ClusterRole"]) {
			t.Errorf("%s: %v", file, subjects)
		}
		if strings.Contains(file, "full") {
			is(t, file+": subjects", subjects["Role"], `
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: roomkeeper-audit}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: audit@contoso.example}
- {kind: ServiceAccount, name: roomkeeper-auditor, namespace: contoso}`)
		}
	}
}
