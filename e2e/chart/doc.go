// Package chart holds the tests of charts/roomkeeper and of the health checks for Argo CD.
package chart
